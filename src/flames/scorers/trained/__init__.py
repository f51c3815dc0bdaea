"""Reading and running a trained scorer: a backbone with one head per dimension, or its export.

Importing this package loads neither torch nor transformers. `flames.training` writes what this
package reads.
"""
