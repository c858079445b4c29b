"""What samples are judged by: classifiers, held-out images, finders of modes."""
