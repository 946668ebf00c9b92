FROM a
MAINTAINER --boo jo@example.com
