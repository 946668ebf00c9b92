FROM scratch
ARG DATABASE=postgres://app:hunter2@db/app
ARG EXAMPLE=postgres://app:$PW@db/app
ENV ACCESS="id=AKIAABCDABCDABCDABCD region=x"
ENV COPY_OF=$DATABASE
# check=skip=SecretValueInArgOrEnv
ENV OTHER=$DATABASE
