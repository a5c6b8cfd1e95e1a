"""NeuroCache: a self-hosted CDN node.

Owns the version, and nothing else: importing `neuro` must stay free of side effects and of cost,
since every command of the program does it first.
"""

__version__ = "0.1.0"
