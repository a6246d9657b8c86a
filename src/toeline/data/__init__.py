"""Files become photographs, scenes and truths. What is wrong with a file is said once, here, with its place."""
