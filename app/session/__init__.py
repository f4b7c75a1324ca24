"""What one person's session remembers, its link, and what is cached for views. Every `st.cache_*` is in `cache`."""
