def launch(s,command):
    for x in s: print(x.label, x.varied, x.length, x.model.name, x.paths, x.data_mix.budget)
    return 0
