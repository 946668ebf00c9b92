FROM scratch
ENV one two three
env four five
LABEL six seven
LABEL eight=nine
# check=skip=LegacyKeyValueFormat
ENV ten eleven
