"""Demo companies: people and years of leave that follow from a seed, sent through the gateway's public API.

`company` says who works there, `years` what they do and when, both pure; `load` sends it, `journal` remembers how far.
"""
