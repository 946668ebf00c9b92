ARG GREETING
RUN <<script
echo "$GREETING" > /greeting
script
LABEL tools=yes
