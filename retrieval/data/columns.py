"""Names of the columns, in files and in frames."""

USER_ID = "user_id"
MOVIE_ID = "movie_id"
RATING = "rating"
TIMESTAMP = "timestamp"  # seconds since 1970

TITLE = "title"  # without the year
YEAR = "year"
GENRES = "genres"  # separated by |
DIRECTORS = "directors"  # separated by |
ACTORS = "actors"  # separated by |

GENDER = "gender"
AGE = "age"  # years, or the lower edge of a bracket as in MovieLens-1M
OCCUPATION = "occupation"

RANK = "rank"
SCORE = "score"
DEVIATION = "deviation"  # standard deviation of a rating around the predicted one

RATINGS = (USER_ID, MOVIE_ID, RATING, TIMESTAMP)
MOVIES = (MOVIE_ID, TITLE, YEAR, GENRES, DIRECTORS, ACTORS)
USERS = (USER_ID, GENDER, AGE, OCCUPATION)
PEOPLE = (DIRECTORS, ACTORS)
LISTS = (GENRES, *PEOPLE)
ALL = frozenset((*RATINGS, *MOVIES, *USERS))

# What MovieLens calls two of them in its CSV files.
MOVIELENS = {"userId": USER_ID, "movieId": MOVIE_ID}
