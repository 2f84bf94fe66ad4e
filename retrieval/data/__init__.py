"""Data: from raw files to numbers and histories.

Read in this order: frames (what data comes to), source (where it comes from; layouts is the way in
for a folder), folders and roles (which table and which column is what, by the names in names),
tables (a file of any format: text and stream, jsonl, parquet and arrow, unpacked by compressed;
plain says what is a file at all), movielens and people (its layouts), checks (the door, with ids,
events, values and times), kinds and fates (further columns), attributes and user_attributes
(what these are to conditions and to towers), section (the settings file), overview (counts),
dataset (numbers), history (flat arrays with offsets), statistics (averages of what came before),
split (what is held out); fetch, synthetic and demo bring data where there is none.
"""
