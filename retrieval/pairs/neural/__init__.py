"""The neural pair: ids, demographics, content and history through dense layers."""
