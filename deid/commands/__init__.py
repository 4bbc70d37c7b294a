"""The commands of ``deid``, one a module."""
