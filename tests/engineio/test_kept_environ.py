"""What a session remembers of its handshake takes little memory, and none of the server's own objects."""

from __future__ import annotations

from typing import Any

from wsgi_sio.engineio.kept_environ import EnvironKeeper


def environ(number: int) -> dict[str, Any]:
    """As a server makes it: of strings of its own."""
    return {
        "".join(["HTTP_", "USER_AGENT"]): "".join(["A ", "browser"]),
        "".join(["HTTP_", "X_NUMBER"]): str(number),
        "HTTP_COOKIE": "c" * 1000,
        "wsgi.input": object(),
        "gunicorn.socket": object(),
        "werkzeug.socket": object(),
        "wsgi.url_scheme": "https",
        "app.own": ["a list"],
    }


def test_the_server_s_own_objects_are_left_out() -> None:
    given = environ(1)
    kept = EnvironKeeper().keep(given)
    assert kept == {key: value for key, value in given.items() if key not in
                    ("wsgi.input", "gunicorn.socket", "werkzeug.socket")}  # fmt: skip
    assert kept["app.own"] is given["app.own"]


def test_equal_strings_are_one() -> None:
    keeper = EnvironKeeper()
    one, other = keeper.keep(environ(1)), keeper.keep(environ(2))
    for key in ("HTTP_USER_AGENT", "HTTP_X_NUMBER"):
        assert next(name for name in one if name == key) is next(name for name in other if name == key)
    assert one["HTTP_USER_AGENT"] is other["HTTP_USER_AGENT"]
    assert (one["HTTP_X_NUMBER"], other["HTTP_X_NUMBER"]) == ("1", "2")


def test_the_query_of_most_websockets_is_one_as_well() -> None:
    keeper = EnvironKeeper()

    def handshake() -> dict[str, Any]:
        query = "&".join(["EIO=4", "transport=websocket"])
        return {"QUERY_STRING": query, "RAW_URI": f"/socket.io/?{query}", "REQUEST_URI": f"/socket.io/?{query}"}

    one, other = keeper.keep(handshake()), keeper.keep(handshake())
    assert one == {**handshake(), "wsgi.url_scheme": "http"}
    assert all(one[key] is other[key] for key in one)


def test_a_query_that_says_more_is_not_remembered() -> None:
    keeper = EnvironKeeper()
    for value in ("token=secret&EIO=4&transport=websocket", "/?secret?EIO=4&transport=websocket"):
        keeper.keep(dict.fromkeys(["QUERY_STRING", "RAW_URI", "HTTP_COOKIE"], value))
    keeper.keep({"HTTP_COOKIE": "secret?EIO=4&transport=websocket", "QUERY_STRING": "?EIO=4&transport=websocket"})
    assert not [text for text in keeper._known if "transport" in text]


def test_secrets_do_not_outlive_their_session() -> None:
    keeper = EnvironKeeper()
    kept = keeper.keep(
        {"HTTP_COOKIE": "session=secret", "HTTP_AUTHORIZATION": "Bearer secret", "QUERY_STRING": "token=secret"}
    )
    assert kept["HTTP_COOKIE"] == "session=secret"
    assert not [text for text in keeper._known if "secret" in text]


def test_what_is_known_is_bounded() -> None:
    keeper = EnvironKeeper()
    first = keeper.keep(environ(0))
    for number in range(5000):
        keeper.keep(environ(number))
    assert len(keeper._known) < 1100
    assert keeper.keep(environ(0)) == {**first, "app.own": ["a list"]}


def test_a_request_without_a_scheme_came_by_http() -> None:
    assert EnvironKeeper().keep({"PATH_INFO": "/"}) == {"PATH_INFO": "/", "wsgi.url_scheme": "http"}
