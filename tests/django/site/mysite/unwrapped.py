"""What Django's own template for projects has: no Socket.IO."""

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
