"""Tower pairs: user towers and movie towers whose vectors are scored by a dot product."""
