FROM a
RUN --device=vendor.com/class=name,required --device=name=x,required=false true
