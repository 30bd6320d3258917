// Command echo stands in for the suite's image echo-advanced where that cannot be pulled. As "server" it answers every
// request, over HTTP, HTTPS, gRPC or bytes, with what it saw of it; as "client" it sends requests and prints what came
// back. Its arguments and the fields that it prints are those that the mesh tests of the suite use.
package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
)

func main() {
	run := server
	if filepath.Base(os.Args[0]) == "client" {
		run = client
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// headerLines lists headers as NAME:VALUE, one for each value.
func headerLines(headers http.Header) []string {
	var lines []string
	for name, values := range headers {
		for _, value := range values {
			lines = append(lines, name+":"+value)
		}
	}
	slices.Sort(lines)
	return lines
}
