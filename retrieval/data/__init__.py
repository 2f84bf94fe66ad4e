"""Data: from raw files to numbers and histories.

Read in this order: frames (what a data folder comes to), layouts (which file is what), text and
parquet (files become tables; plain says what is a file at all), checks (the door), times (units of
timestamps), dataset (numbers), history (flat arrays with offsets), statistics (averages of what
came before), split (what is held out); fetch, synthetic and demo bring data where there is none.
"""
