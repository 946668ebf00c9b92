  	 FROM a
	RuN  b
 rUn c
