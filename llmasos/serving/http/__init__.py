"""HTTP itself: connections, requests and responses, errors, JSON, the client and the page. No route is defined here."""
