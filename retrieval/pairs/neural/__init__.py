"""The neural pair: ids, attributes, content and history through dense layers."""
