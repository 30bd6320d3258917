package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	echo "sigs.k8s.io/gateway-api/conformance/echo-basic/grpcechoserver"
)

const (
	// As the suite's image: of the requests of a batch so many are under way at once.
	concurrency = 20
	// For the whole batch.
	timeout = 5 * time.Second
	// Of an answer.
	maxBodyBytes = 1 << 20
)

// A sender answers with lines NAME=VALUE; those of the body begin with "body] ".
type sender func(context.Context) ([]string, error)

// client sends requests to the URL that is its first argument and prints each answer, with an empty line between two. It
// fails when one of them fails.
func client(arguments []string) error {
	if len(arguments) == 0 {
		return errors.New("which URL?")
	}
	target := arguments[0]
	flags := flag.NewFlagSet("client", flag.ContinueOnError)
	var headers []string
	flags.Func("H", "NAME:VALUE; may be given again", func(text string) error {
		headers = append(headers, text)
		return nil
	})
	method := flags.String("method", http.MethodGet, "the HTTP method")
	count := flags.Int("count", 1, "how many requests to send")
	if err := flags.Parse(arguments[1:]); err != nil {
		return err
	}
	send, err := newSender(target, *method, headers)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	answers, err := sendBatch(ctx, send, *count)
	for i, lines := range answers {
		fmt.Printf("[%d] Url=%s\n", i, target)
		for _, line := range lines {
			fmt.Printf("[%d%s\n", i, line)
		}
		fmt.Println()
	}
	return err
}

func newSender(target, method string, headers []string) (sender, error) {
	parsed, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	switch parsed.Scheme {
	case "http":
		return overHTTP(target, method, headers), nil
	case "grpc":
		// One connection for the whole batch.
		connection, err := grpc.NewClient("passthrough:///"+parsed.Host, grpc.WithTransportCredentials(insecure.NewCredentials()))
		return overGRPC(echo.NewGrpcEchoClient(connection), headers), err
	default:
		return nil, fmt.Errorf("no such protocol: %q", parsed.Scheme)
	}
}

func sendBatch(ctx context.Context, send sender, count int) ([][]string, error) {
	answers := make([][]string, count)
	failures := make([]error, count)
	slots := make(chan struct{}, concurrency)
	var all sync.WaitGroup
	for i := range count {
		slots <- struct{}{}
		all.Go(func() {
			answers[i], failures[i] = send(ctx)
			<-slots
		})
	}
	all.Wait()
	return answers, errors.Join(failures...)
}

// Every request on a connection of its own, as the suite's image does it; redirects are printed, not followed.
func overHTTP(target, method string, headers []string) sender {
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context) ([]string, error) {
		request, err := http.NewRequestWithContext(ctx, method, target, nil)
		if err != nil {
			return nil, err
		}
		for _, header := range headers {
			name, value, _ := strings.Cut(header, ":")
			if strings.EqualFold(name, "Host") {
				request.Host = value
			} else {
				request.Header.Add(name, value)
			}
		}
		response, err := client.Do(request)
		if err != nil {
			return nil, err
		}
		defer response.Body.Close()
		lines := []string{fmt.Sprintf("] StatusCode=%d", response.StatusCode)}
		for _, line := range headerLines(response.Header) {
			lines = append(lines, "] ResponseHeader="+line)
		}
		body, err := io.ReadAll(io.LimitReader(response.Body, maxBodyBytes))
		for line := range strings.Lines(string(body)) {
			lines = append(lines, " body] "+strings.TrimSpace(line))
		}
		return lines, err
	}
}

func overGRPC(client echo.GrpcEchoClient, headers []string) sender {
	return func(ctx context.Context) ([]string, error) {
		for _, header := range headers {
			name, value, _ := strings.Cut(header, ":")
			ctx = metadata.AppendToOutgoingContext(ctx, name, value)
		}
		response, err := client.Echo(ctx, &echo.EchoRequest{})
		if err != nil {
			return nil, err
		}
		seen := response.GetAssertions()
		lines := []string{"] StatusCode=200", " body] URL=" + seen.GetFullyQualifiedMethod()}
		for _, header := range seen.GetHeaders() {
			lines = append(lines, " body] RequestHeader="+header.GetKey()+":"+header.GetValue())
		}
		return append(lines, " body] Hostname="+seen.GetContext().GetPod()), nil
	}
}
