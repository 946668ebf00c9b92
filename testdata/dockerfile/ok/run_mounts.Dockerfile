FROM a
RUN --mount=target=. --mount=type=cache,target=/c,id=$ID,sharing=locked,mode=0700,uid=1,gid=2 a
RUN --mount=type=secret,id=s,env=E,required --mount=type=ssh,required=true b
RUN --mount=type=bind,from=x,source=/y,dst=/z,rw --mount=TYPE=tmpfs,Target=/t,size=64m c
RUN --mount='type=bind,"source=a,b",target=/t' d
