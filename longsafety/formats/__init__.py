"""Public formats, read and written.

Reading: ``rows`` gives the rows of files and data sets, ``schemas`` lists the layouts of public sets, ``public`` reads
one. Writing: ``layouts`` lists the formats, ``export`` writes a folder. README.md shows how to add either.
"""
