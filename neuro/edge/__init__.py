"""The I/O shell around neuro.http and neuro.cache: from the native engine to origins and back."""
