"""Joins the rooms: one file per thing that a user asks for."""
