FROM scratch
MAINTAINER somebody
# check=skip=MaintainerDeprecated
MAINTAINER somebody else
