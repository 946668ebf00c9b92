FROM a
VOLUME --x /a
