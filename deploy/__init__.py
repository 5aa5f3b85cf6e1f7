"""From a finished run to answers: what predict.py and export.py are made of.

inputs.py       words of a command line -> image files
classifier.py   a run as one module: images in, probabilities out
answers.py      probabilities as text, CSV or JSON lines
exported.py     a run as a file for other programs
"""
