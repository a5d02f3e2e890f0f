"""Prepare data sets: fetch what is public, and make the files that training needs and archives do not hold."""
