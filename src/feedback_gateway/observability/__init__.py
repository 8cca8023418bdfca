"""What the gateway shows of itself: metrics, traces and logs, and never what users wrote."""
