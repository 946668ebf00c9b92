FROM a
USER a b:c
USER $u:${g:-0}
