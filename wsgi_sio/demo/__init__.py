"""The demonstration that ``python -m wsgi_sio`` serves: a chat (`wsgi_sio.demo.chat`) and its page (``page/``)."""
