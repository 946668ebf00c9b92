FROM debian
RUN apt-get update
RUN apt-get install -y curl
RUN apt-get update && apt-get install -y git
RUN --mount=type=cache,target=/var/lib/apt/lists apt-get update
RUN ["apt-get", "update"]
# check=skip=AptUpdateAlone
RUN apt update && rm -rf /tmp/x
RUN <<SCRIPT
set -e
apt-get -qq update
SCRIPT
