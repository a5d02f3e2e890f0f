"""Names under which users of other packages know what segpipe does."""
