FROM a
MAINTAINER Jo  <jo@example.com>
