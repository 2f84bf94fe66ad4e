"""How the scores of the pairs become one rating and one ranking."""
