"""Data: from raw files to numbers and histories.

Read in this order: frames (what a data folder comes to), layouts (readers), checks (the door),
dataset (numbers), history (flat arrays with offsets), statistics (averages of what came before),
split (what is held out); fetch and synthetic bring data where there is none.
"""
