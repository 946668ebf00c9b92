# Every instruction that edits the config.
FROM base
MAINTAINER somebody <a@b>
ENV A=1 B="two words" PATH=$PATH:/opt/bin
ENV legacy the rest $A
LABEL one=$A "two three"='$A'
ARG GIVEN=default
ARG PLAIN UNSET=
USER $A:users
WORKDIR sub//dir/
WORKDIR ../other
EXPOSE 443 80-81/udp $PORTS
VOLUME /data "/quoted"
VOLUME ["/a b", "/$A"]
STOPSIGNAL SIGTERM
SHELL ["/bin/bash", "-euc"]
HEALTHCHECK --interval=90s --retries=3 CMD curl -f http://localhost/ || exit 1
ONBUILD RUN echo hello
CMD echo "$A" $B
ENTRYPOINT ["/entry", "a b"]
