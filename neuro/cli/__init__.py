"""The program `neurocache`: reads arguments, calls one thing, shows what came of it.

Owns texts, output formats and exit codes. Never holds logic that another program would need.
"""
