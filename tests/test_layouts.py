import os
from pathlib import Path

import pandas as pd
import pytest

from retrieval.data.dataset import encode
from retrieval.data.layouts import read_folder, read_movies
from retrieval.data.movielens import GENRES_100K
from retrieval.errors import DataError

RATINGS = "2::1::4::30\n1::1::5::10\n1::2::3::20\n"
MOVIES = "1::Toy Story (1995)::Animation|Comedy\n2::Matrix, The (1999)::Action\n"
CSV_RATINGS = "userId,movieId,rating,timestamp\n2,1,4.5,30\n1,1,5.0,10\n1,2,0.5,20\n"
CSV_MOVIES = (
    'movieId,title,genres\n1,"Matrix, The (1999)",Action|Sci-Fi\n2,Babylon 5,(no genres listed)\n'
)


def write(folder: Path, **files: str | bytes) -> Path:
    """Write files; a name has _ for its last dot."""
    for name, content in files.items():
        path = folder / ".".join(name.rsplit("_", 1))
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def problems_of(folder: Path) -> list[tuple[str, int | None, str]]:
    with pytest.raises(DataError) as caught:
        read_folder(folder)
    return [(problem.file, problem.line, problem.what) for problem in caught.value.problems]


def flags(*on: str) -> str:
    return "|".join("1" if genre in on else "0" for genre in GENRES_100K)


def test_ratings_stay_in_the_order_of_the_file(tmp_path: Path) -> None:
    data = read_folder(write(tmp_path, ratings_dat=RATINGS, movies_dat=MOVIES))
    assert data.ratings.to_dict("list") == {
        "user_id": [2, 1, 1],
        "movie_id": [1, 1, 2],
        "rating": [4.0, 5.0, 3.0],
        "timestamp": [30, 10, 20],
    }


def test_what_is_listed_by_movie_gives_no_last_rating_away(tmp_path: Path) -> None:
    rows = [(user, movie) for user in range(1, 101) for movie in range(1, 11)]
    lines = "".join(f"{user}::{movie}::4::10\n" for user, movie in rows)
    movies = "".join(f"{movie}::M (1995)::Drama\n" for movie in range(1, 11))
    ratings = read_folder(write(tmp_path, ratings_dat=lines, movies_dat=movies)).ratings
    assert sorted(zip(ratings["user_id"], ratings["movie_id"], strict=True)) == rows
    last = ratings.groupby("user_id")["movie_id"].last()
    assert 2 <= (last == 10).sum() <= 25  # of 100, one in ten by chance
    again = read_folder(tmp_path).ratings
    pd.testing.assert_frame_equal(again, ratings)


def test_frames_have_the_promised_types(tmp_path: Path) -> None:
    data = read_folder(write(tmp_path, ratings_dat=RATINGS, movies_dat=MOVIES))
    assert [str(dtype) for dtype in data.ratings.dtypes] == ["int64", "int64", "float32", "int64"]
    assert str(data.movies["year"].dtype) == "Int64"
    assert list(data.movies) == ["movie_id", "title", "year", "genres", "directors", "actors"]
    assert list(data.users) == ["user_id", "gender", "age", "occupation"]
    assert len(data.users) == 0


def test_a_title_loses_its_year_and_keeps_its_article_last(tmp_path: Path) -> None:
    data = read_folder(write(tmp_path, ratings_dat=RATINGS, movies_dat=MOVIES))
    assert data.movies["title"].to_list() == ["Toy Story", "Matrix, The"]
    assert data.movies["year"].to_list() == [1995, 1999]


def test_colons_in_titles_are_no_separators(tmp_path: Path) -> None:
    movies = "1::Star Wars: Episode IV (1977)::Action\n2::Heat (1995)::Crime\n"
    data = read_folder(write(tmp_path, ratings_dat=RATINGS, movies_dat=movies))
    assert data.movies["title"].to_list() == ["Star Wars: Episode IV", "Heat"]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_dat_files_are_utf8_or_latin1(tmp_path: Path, encoding: str) -> None:
    movies = "1::Misérables, Les (1995)::Drama\n2::Señor (1990)::Drama\n".encode(encoding)
    data = read_folder(write(tmp_path, ratings_dat=RATINGS, movies_dat=movies))
    assert data.movies["title"].to_list() == ["Misérables, Les", "Señor"]


def test_one_latin1_line_does_not_garble_a_utf8_file(tmp_path: Path) -> None:
    movies = "1::Amélie (2001)::Comedy\n".encode() + "2::Señor (1990)::Drama\n".encode("latin-1")
    write(tmp_path, ratings_dat=RATINGS, movies_dat=movies)
    assert problems_of(tmp_path) == [("movies.dat", 2, "line is mis-encoded")]


def test_line_separators_of_unicode_end_no_line(tmp_path: Path) -> None:
    movies = "1::One: a\u2028b (1995)::Drama\n2::Two (1996)::Drama\n"
    data = read_folder(write(tmp_path, ratings_dat=RATINGS, movies_dat=movies))
    assert data.movies["title"].to_list() == ["One: a\u2028b", "Two"]


def test_users_dat_gives_gender_age_and_occupation(tmp_path: Path) -> None:
    users = "1::F::1::10::48067\n7::M::56::16::70072\n"
    data = read_folder(write(tmp_path, ratings_dat=RATINGS, movies_dat=MOVIES, users_dat=users))
    assert data.users.to_dict("list") == {
        "user_id": [1, 7],
        "gender": ["F", "M"],
        "age": [1.0, 56.0],
        "occupation": ["10", "16"],
    }


def test_100k_flags_become_genres_and_a_movie_may_lack_everything(tmp_path: Path) -> None:
    write(
        tmp_path,
        u_data="1\t1\t5\t10\n1\t267\t3\t20\n",
        u_item=f"1|Toy Story (1995)|01-Jan-1995||url|{flags('Animation', 'Comedy')}\n"
        f"267|unknown||||{flags('unknown')}\n",
        u_user="1|24|M|technician|85711\n",
    )
    data = read_folder(tmp_path)
    assert data.movies["title"].to_list() == ["Toy Story", "unknown"]
    assert data.movies["genres"].to_list() == ["Animation|Comedy", ""]
    assert data.movies["year"].isna().to_list() == [False, True]
    assert data.users.iloc[0].to_list() == [1, "M", 24.0, "technician"]


def test_100k_genres_are_called_what_u_genre_calls_them(tmp_path: Path) -> None:
    names = ["unknown", *(f"genre {number}" for number in range(1, 19))]
    write(
        tmp_path,
        u_data="1\t1\t5\t10\n",
        u_item=f"1|Toy Story (1995)|01-Jan-1995||url|{flags('Action', 'Western')}\n",
        u_genre="".join(f"{name}|{number}\n" for number, name in enumerate(names)) + "\n",
    )
    assert read_folder(tmp_path).movies["genres"].to_list() == ["genre 1|genre 18"]


def test_csv_releases_have_half_stars_quoted_titles_and_movies_without_genres(
    tmp_path: Path,
) -> None:
    data = read_folder(write(tmp_path, ratings_csv=CSV_RATINGS, movies_csv=CSV_MOVIES))
    assert data.movies["title"].to_list() == ["Matrix, The", "Babylon 5"]
    assert data.movies["genres"].to_list() == ["Action|Sci-Fi", ""]
    assert (data.scale.lowest, data.scale.highest, data.scale.step) == (0.5, 5, 0.5)


def test_text_that_looks_like_numbers_stays_text(tmp_path: Path) -> None:
    write(
        tmp_path,
        ratings_csv="user_id,movie_id,rating,timestamp\n1,1,5,10\n1,2,3,20\n",
        movies_csv="movie_id,title,year\n1,007,\n2,1984,1984\n",
        users_csv="user_id,occupation,age\n1,01,\n2,02,30\n",
    )
    data = read_folder(tmp_path)
    assert data.movies["title"].to_list() == ["007", "1984"]
    assert data.movies["year"].isna().to_list() == [True, False]
    assert data.users["occupation"].to_list() == ["01", "02"]
    assert data.users["age"].isna().to_list() == [True, False]


def test_parquet_reads_as_csv_does(tmp_path: Path) -> None:
    one, other = tmp_path / "csv", tmp_path / "parquet"
    one.mkdir()
    other.mkdir()
    ratings = pd.DataFrame(
        {"user_id": [1, 1], "movie_id": [1, 2], "rating": [5.0, 2.5], "timestamp": [10, 20]}
    )
    movies = pd.DataFrame({"movie_id": [1, 2], "title": ["A", "B"], "year": [1990, 1991]})
    for name, frame in (("ratings", ratings), ("movies", movies)):
        frame.to_csv(one / f"{name}.csv", index=False)
        frame.to_parquet(other / f"{name}.parquet")
    first, second = read_folder(one), read_folder(other)
    pd.testing.assert_frame_equal(first.ratings, second.ratings)
    pd.testing.assert_frame_equal(first.movies, second.movies)
    assert first.scale == second.scale


def test_people_are_joined_to_the_movies_of_any_layout(tmp_path: Path) -> None:
    people = "movie_id,directors,actors\n2,Lana|Lilly,Keanu\n99,Nobody,\n"
    write(tmp_path, ratings_dat=RATINGS, movies_dat=MOVIES, people_csv=people)
    movies = read_folder(tmp_path).movies
    assert movies["directors"].to_list() == ["", "Lana|Lilly"]
    assert movies["actors"].to_list() == ["", "Keanu"]


def test_people_without_movie_ids_are_a_problem(tmp_path: Path) -> None:
    write(tmp_path, ratings_dat=RATINGS, movies_dat=MOVIES, people_csv="movie,actors\n1,A\n")
    assert problems_of(tmp_path) == [("people.csv", 1, "column movie_id is missing")]


def test_people_of_one_movie_come_once(tmp_path: Path) -> None:
    people = "movie_id,actors\n1,A\n1,B\n"
    write(tmp_path, ratings_dat=RATINGS, movies_dat=MOVIES, people_csv=people)
    assert problems_of(tmp_path) == [("people.csv", 3, "movie_id comes twice")]


def test_windows_line_ends_and_blank_lines_at_the_end_are_harmless(tmp_path: Path) -> None:
    ratings = RATINGS.replace("\n", "\r\n") + "\r\n\r\n"
    data = read_folder(write(tmp_path, ratings_dat=ratings, movies_dat=MOVIES))
    assert data.ratings["timestamp"].to_list() == [30, 10, 20]


@pytest.mark.parametrize("line", ["1::2::3", "1::2::3::4::5", "1", "1::2:3::4"])
def test_a_line_with_the_wrong_number_of_fields_is_a_problem(tmp_path: Path, line: str) -> None:
    write(tmp_path, ratings_dat=f"{RATINGS}{line}\n", movies_dat=MOVIES)
    assert problems_of(tmp_path) == [("ratings.dat", 4, "line does not have 4 fields")]


def test_a_cut_off_movie_is_a_problem(tmp_path: Path) -> None:
    write(tmp_path, ratings_dat="1::1::5::10\n", movies_dat="1::Heat (1995)::Crime\n2::Toy St")
    assert problems_of(tmp_path) == [("movies.dat", 2, "line does not have 3 fields")]


# Elsewhere here warnings are errors, which would hide a reader that warns and cuts.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("surplus", ["0", ""])
def test_surplus_fields_in_every_line_are_not_dropped(tmp_path: Path, surplus: str) -> None:
    ratings = f"userId,movieId,rating,timestamp\n1,1,5,10,{surplus}\n1,2,3,20,{surplus}\n"
    write(tmp_path, ratings_csv=ratings, movies_csv=CSV_MOVIES)
    broken = "line does not have 4 fields"
    assert problems_of(tmp_path)[:2] == [("ratings.csv", 2, broken), ("ratings.csv", 3, broken)]


@pytest.mark.parametrize("wrong", ["\0", "\ufffd"])
def test_mis_encoded_lines_are_problems(tmp_path: Path, wrong: str) -> None:
    movies = MOVIES + f"3::Toy{wrong}Story (1995)::Drama\n"
    write(tmp_path, ratings_dat=RATINGS, movies_dat=movies)
    assert problems_of(tmp_path) == [("movies.dat", 3, "line is mis-encoded")]


def test_a_csv_that_is_no_utf8_is_a_problem(tmp_path: Path) -> None:
    movies = "movieId,title,genres\n1,A (1990),X\n2,Señor (1990),X\n".encode("latin-1")
    write(tmp_path, ratings_csv=CSV_RATINGS, movies_csv=movies)
    assert problems_of(tmp_path) == [("movies.csv", 3, "line is mis-encoded")]


def test_problems_of_all_files_come_in_one_report(tmp_path: Path) -> None:
    write(
        tmp_path,
        ratings_dat=RATINGS + "2::2::abc::40\n3::1::4\n",
        movies_dat=MOVIES + "3::cut\n",
        users_dat="1::F::old::10::48067\n",
    )
    assert set(problems_of(tmp_path)) == {
        ("ratings.dat", 4, "rating is no number"),
        ("ratings.dat", 5, "line does not have 4 fields"),
        ("movies.dat", 3, "line does not have 3 fields"),
        ("users.dat", 1, "impossible age"),
    }


@pytest.mark.parametrize("blank", ["", "\n"])
def test_lines_are_counted_with_the_header_and_with_blank_lines(tmp_path: Path, blank: str) -> None:
    ratings = f"userId,movieId,rating,timestamp\n1,1,5,10\n{blank}1,2,bad,20\n"
    write(tmp_path, ratings_csv=ratings, movies_csv=CSV_MOVIES)
    line = 3 + len(blank)
    assert problems_of(tmp_path) == [("ratings.csv", line, "rating is no number")]


def test_a_title_over_two_lines_does_not_shift_the_lines_after_it(tmp_path: Path) -> None:
    movies = 'movieId,title,genres\n1,"A\nB (1990)",X\n2,C (1990),X\n2,D (1990),X\n'
    write(tmp_path, ratings_csv=CSV_RATINGS, movies_csv=movies)
    assert problems_of(tmp_path) == [("movies.csv", 5, "movie_id comes twice")]


def test_a_column_that_comes_twice_is_a_problem(tmp_path: Path) -> None:
    ratings = "userId,movieId,rating,rating,timestamp\n1,1,5,5,10\n"
    write(tmp_path, ratings_csv=ratings, movies_csv=CSV_MOVIES)
    assert problems_of(tmp_path) == [("ratings.csv", 1, "a column comes twice")]


def test_a_broken_parquet_file_is_a_problem(tmp_path: Path) -> None:
    write(tmp_path, ratings_parquet=b"no parquet", movies_csv=CSV_MOVIES)
    with pytest.raises(DataError, match=r"ratings\.parquet: not a readable parquet file"):
        read_folder(tmp_path)


def test_a_missing_folder_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder: '.*absent'.*rec data fetch"):
        read_folder(tmp_path / "absent")


def test_an_unknown_folder_is_told_what_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_folder(write(tmp_path, readme_txt="hello"))
    for name in ("ratings.dat", "u.data", ".csv", ".parquet"):
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("files", "line", "value"),
    [
        ({"ratings_dat": RATINGS + "3::1::9::40\n", "movies_dat": MOVIES}, 4, "9"),
        ({"ratings_csv": CSV_RATINGS + "3,1,5.5,40\n", "movies_csv": CSV_MOVIES}, 5, "5.5"),
    ],
)
def test_one_rating_beyond_the_stars_is_a_problem_in_a_file_of_any_size(
    tmp_path: Path, files: dict[str, str], line: int, value: str
) -> None:
    with pytest.raises(DataError) as caught:
        read_folder(write(tmp_path, **files))
    [problem] = caught.value.problems
    assert (problem.line, problem.what) == (line, "rating outside the scale")
    assert problem.value.startswith(value)


def general(folder: Path, **files: str | bytes) -> Path:
    """Write a small sound folder of tables with named columns, some files replaced."""
    sound: dict[str, str | bytes] = {
        "ratings_csv": "user_id,movie_id,rating,timestamp\n1,1,5,10\n1,2,3,20\n",
        "movies_csv": "movie_id,title,genres\n1,Heat (1995),Crime\n2,Alien (1979),Horror\n",
    }
    return write(folder, **(sound | files))


@pytest.mark.parametrize("end", ["\r", "\r\n", "\r\r\n"])
def test_lines_may_end_in_anything(tmp_path: Path, end: str) -> None:
    text = "user_id,movie_id,rating,timestamp\n1,1,5,10\n1,2,3,20\n".replace("\n", end)
    data = read_folder(general(tmp_path, ratings_csv=text))
    assert data.ratings["timestamp"].to_list() == [10, 20]


def test_one_line_may_end_otherwise(tmp_path: Path) -> None:
    movies = "movie_id,title\n1,Heat (1995)\r2,Alien (1979)\n"
    assert read_folder(general(tmp_path, movies_csv=movies)).movies["title"].to_list() == [
        *("Heat", "Alien")
    ]


@pytest.mark.parametrize(
    ("begin", "told"),
    [
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"BZh9", "bzip2"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"PK\x03\x04", "zip archive"),
        (b"PAR1", "Parquet"),
        (b"\xff\xfeu\0", "UTF-16"),
        (b"\xfe\xff\0u", "UTF-16"),
    ],
)
def test_a_file_that_is_no_text_is_told_what_it_is(tmp_path: Path, begin: bytes, told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        read_folder(general(tmp_path, ratings_csv=begin + bytes(range(256))))
    [problem] = caught.value.problems
    assert (problem.file, problem.line) == ("ratings.csv", None)


@pytest.mark.parametrize(
    ("separator", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")]
)
def test_other_separators_are_read_and_said(tmp_path: Path, separator: str, name: str) -> None:
    text = "user_id,movie_id,rating,timestamp\n1,1,5,10\n1,2,3.5,20\n".replace(",", separator)
    data = read_folder(general(tmp_path, ratings_csv=text))
    assert data.ratings["rating"].to_list() == [5, 3.5]
    assert any(name in note for note in data.notes)


def test_a_quote_that_is_never_closed_is_told_where_it_opens(tmp_path: Path) -> None:
    rows = "".join(f"{user},1,{1 + user % 5},10\n" for user in range(30_000))
    text = f'user_id,movie_id,rating,timestamp\n7,1,3,10\n"8,1,3,10\n{rows}'
    assert problems_of(general(tmp_path, ratings_csv=text)) == [
        ("ratings.csv", 3, "a quote is opened and not closed")
    ]


def test_two_stray_quotes_do_not_swallow_what_is_between(tmp_path: Path) -> None:
    rows = "".join(f"{user},1,{1 + user % 5},10\n" for user in range(500))
    text = f'user_id,movie_id,rating,timestamp\n7,1,"3,10\n{rows}8,1,3",10\n9,1,3,10\n'
    assert problems_of(general(tmp_path, ratings_csv=text)) == [
        ("ratings.csv", 2, "a quote is opened and not closed")
    ]


def test_a_title_that_is_cut_off_within_its_quotes_is_a_problem(tmp_path: Path) -> None:
    movies = 'movie_id,title\n1,"Heat (1995)"\n2,"Alien, The Re'
    assert problems_of(general(tmp_path, movies_csv=movies))[0] == (
        *("movies.csv", 3, "a quote is opened and not closed"),
    )


def test_a_field_beyond_what_the_parser_takes_is_a_problem(tmp_path: Path) -> None:
    movies = f'movie_id,title\n1,"Heat"\n2,"a\n{"x" * 200_000}"\n'
    [first, *_] = problems_of(general(tmp_path, movies_csv=movies))
    assert first == ("movies.csv", 3, "a quote is opened and not closed")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("\n", "the file is empty"),
        ("\ufeff", "the file is empty"),
        ("user_id,movie_id,rating,timestamp\n", "no rows"),
    ],
)
def test_a_file_without_rows_is_a_problem(tmp_path: Path, text: str, said: str) -> None:
    whats = [what for _, _, what in problems_of(general(tmp_path, ratings_csv=text))]
    assert said in whats


@pytest.mark.parametrize(
    "text",
    [
        "1,1,5,10\n1,2,3,20\n",
        "# exported\nuser_id,movie_id,rating,timestamp\n1,1,5,10\n1,2,3,20\n",
        "sep=,\nuser_id,movie_id,rating,timestamp\n1,1,5,10\n1,2,3,20\n",
        "\n\nuser_id,movie_id,rating,timestamp\n1,1,5,10\n1,2,3,20\n",
        "user_id::movie_id::rating::timestamp\n1::1::5::10\n",
        "<html><body>Not found</body></html>\n",
    ],
)
def test_a_file_that_does_not_begin_with_its_columns_is_one_problem(
    tmp_path: Path, text: str
) -> None:
    what = "the first line names no column that is known"
    assert problems_of(general(tmp_path, ratings_csv=text)) == [("ratings.csv", 1, what)]


def test_hexadecimal_ids_are_no_whole_numbers(tmp_path: Path) -> None:
    rows = "".join(f"{user},1,{1 + user % 5},10\n" for user in range(1, 200))
    text = f"user_id,movie_id,rating,timestamp\n0x1,2,3,20\n{rows}"
    assert problems_of(general(tmp_path, ratings_csv=text)) == [
        ("ratings.csv", 2, "user_id is no whole number"),
    ]


def test_of_a_csv_and_a_parquet_file_of_one_name_the_unread_one_is_named(tmp_path: Path) -> None:
    folder = general(tmp_path)
    assert not [note for note in read_folder(folder).notes if "parquet" in note]
    (folder / "ratings.parquet").write_bytes(b"of an export that was broken off")
    [note] = [note for note in read_folder(folder).notes if "parquet" in note]
    assert note == "ratings.csv is read, and ratings.parquet beside it is not"


def test_nameless_and_foreign_columns_are_passed_over(tmp_path: Path) -> None:
    text = ",user_id,movie_id,rating,timestamp,,note,\n0,1,1,5,10,,x,\n1,1,2,3,20,,,\n"
    data = read_folder(general(tmp_path, ratings_csv=text))
    assert data.ratings["timestamp"].to_list() == [10, 20]


def test_a_byte_order_mark_and_blanks_in_the_header_are_harmless(tmp_path: Path) -> None:
    text = "\ufeff user_id , movie_id,rating ,timestamp\n1,1,5,10\n1,2,3,20\n"
    assert len(read_folder(general(tmp_path, ratings_csv=text)).ratings) == 2


def test_a_header_that_comes_again_is_told_by_line(tmp_path: Path) -> None:
    header = "user_id,movie_id,rating,timestamp\n"
    problems = problems_of(general(tmp_path, ratings_csv=f"{header}1,1,5,10\n{header}1,2,3,20\n"))
    assert {line for _, line, _ in problems} == {3}


def test_messages_are_short_and_hold_no_control_characters(tmp_path: Path) -> None:
    header = "\x1b[31m" + "x" * 100_000
    folder = tmp_path / "odd \x1b[2J\n"
    folder.mkdir()
    with pytest.raises(DataError) as caught:
        read_folder(general(folder, ratings_csv=f"{header}\n1\n", movies_csv="\x9b,\x1b\n"))
    lines = str(caught.value).split("\n")
    assert len(lines) == len(caught.value.problems)
    assert all(line.isprintable() and len(line) < 400 for line in lines)


@pytest.mark.parametrize("id_", ["1.0", " 1 ", "1", "+1", "1e0"])
def test_ids_of_people_join_however_they_are_written(tmp_path: Path, id_: str) -> None:
    people = f"movie_id,directors\n{id_}, Jane Doe |John Doe|\n99,Nobody\n"
    data = read_folder(general(tmp_path, people_csv=people))
    assert data.movies["directors"].to_list() == ["Jane Doe|John Doe", ""]
    assert not any("people" in note for note in data.notes)


def test_people_of_other_movies_alone_are_said(tmp_path: Path) -> None:
    data = read_folder(general(tmp_path, people_csv="movie_id,directors\n98,A\n99,B\n"))
    assert any("not one movie_id" in note for note in data.notes)


def test_people_without_directors_and_actors_are_said(tmp_path: Path) -> None:
    data = read_folder(general(tmp_path, people_csv="movie_id,note\n1,A\n"))
    assert any("neither directors nor actors" in note for note in data.notes)


def test_an_id_of_people_that_is_none_is_a_problem(tmp_path: Path) -> None:
    general(tmp_path, people_csv="movie_id,directors\ntt1,A\n")
    assert problems_of(tmp_path) == [("people.csv", 2, "movie_id is no whole number")]


# What the system says of files that are none


def test_a_file_is_one_of_events(tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text("user_id\n", encoding="utf-8")
    assert problems_of(path) == [
        ("ratings.csv", 1, "column movie_id is missing"),
        ("ratings.csv", None, "no rows"),
    ]


def test_a_folder_where_a_file_belongs_is_told(tmp_path: Path) -> None:
    general(tmp_path)
    (tmp_path / "ratings.csv").unlink()
    (tmp_path / "ratings.csv").mkdir()
    assert problems_of(tmp_path) == [("ratings.csv", None, "a folder where a file belongs")]


def test_a_link_to_nothing_is_told(tmp_path: Path) -> None:
    general(tmp_path)
    (tmp_path / "movies.csv").unlink()
    (tmp_path / "movies.csv").symlink_to("elsewhere.csv")
    assert problems_of(tmp_path) == [("movies.csv", None, "link to what is not there")]
    (tmp_path / "data").symlink_to("elsewhere")
    assert problems_of(tmp_path / "data") == [("data", None, "link to what is not there")]


@pytest.mark.parametrize("name", ["ratings.csv", "ratings.parquet", "users.csv", "people.parquet"])
def test_a_pipe_keeps_nobody_waiting(tmp_path: Path, name: str) -> None:
    general(tmp_path)
    (tmp_path / name).unlink(missing_ok=True)
    if name == "ratings.parquet":
        (tmp_path / "ratings.csv").unlink()
    os.mkfifo(tmp_path / name)
    assert problems_of(tmp_path) == [(name, None, "no plain file")]
    with pytest.raises(DataError, match="no plain file"):
        read_movies(tmp_path / name)


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), MemoryError()])
def test_what_the_system_refuses_is_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    general(tmp_path)
    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(DataError, match=r"Permission denied|memory") as caught:
        read_folder(tmp_path)
    assert len(caught.value.problems) == 1


def test_a_name_of_odd_bytes_is_escaped(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path / "odd") + b"\xff\x1b"))
    with pytest.raises(DataError) as caught:
        read_folder(folder)
    assert "\\udcff\\x1b" in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_name_too_long_for_the_system_is_a_line(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        read_folder(tmp_path / ("x" * 5000))


def test_one_movie_and_one_user_are_read_and_encoded(tmp_path: Path) -> None:
    movies = "movie_id,title\n1,Heat (1995)\n"
    ratings = "user_id,movie_id,rating,timestamp\n7,1,5,1455105600\n"
    dataset = encode(read_folder(general(tmp_path, ratings_csv=ratings, movies_csv=movies)))
    assert (len(dataset.ratings), len(dataset.user_codes), len(dataset.movie_frame)) == (1, 1, 1)
