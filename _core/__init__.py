"""The compiled modules: codec, slab and engine. Imported only by neuro.native and neuro.wire."""
