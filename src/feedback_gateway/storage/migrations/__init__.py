"""The schema's history, one file a revision in `versions/`. A revision that was released is never edited."""
