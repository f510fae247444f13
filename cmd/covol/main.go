package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(execute(context.Background(), newRoot(), os.Stderr))
}
