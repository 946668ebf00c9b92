FROM a
ENV A=1 B="two words" C='$x' D=a\ b E=
ENV legacy the  rest = of it 
ENV "K"=v
Env A="x=\"y\"" \
    B=$A
ENV name	after a tab
