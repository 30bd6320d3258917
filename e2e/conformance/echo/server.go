package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	echo "sigs.k8s.io/gateway-api/conformance/echo-basic/grpcechoserver"
)

// server serves the ports that its arguments name until one of them fails.
func server(arguments []string) error {
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	plain := portFlag(flags, "port", "serve HTTP here")
	secure := portFlag(flags, "tls", "serve this one of the HTTP ports with TLS")
	rpc := portFlag(flags, "grpc", "serve gRPC here")
	bytes := portFlag(flags, "tcp", "answer lines here")
	// The image has these files; here a certificate is made.
	flags.String("crt", "", "certificate file")
	flags.String("key", "", "key file")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if len(*plain)+len(*rpc)+len(*bytes) == 0 {
		*plain, *rpc, *bytes = []int{8080}, []int{7070}, []int{9090}
	}
	failed := make(chan error)
	serve := func(ports []int, on func(net.Listener, int) error) {
		for _, port := range ports {
			go func() {
				listener, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
				if err == nil {
					err = on(listener, port)
				}
				failed <- err
			}()
		}
	}
	certificate, err := newCertificate()
	if err != nil {
		return err
	}
	serve(*plain, func(listener net.Listener, port int) error {
		if slices.Contains(*secure, port) {
			listener = tls.NewListener(listener, &tls.Config{
				Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2", "http/1.1"},
			})
		}
		return serveHTTP(listener)
	})
	serve(*rpc, func(listener net.Listener, _ int) error {
		s := grpc.NewServer()
		echo.RegisterGrpcEchoServer(s, &grpcEcho{})
		return s.Serve(listener)
	})
	serve(*bytes, func(listener net.Listener, _ int) error { return serveLines(listener) })
	return <-failed
}

func portFlag(flags *flag.FlagSet, name, usage string) *[]int {
	var ports []int
	flags.Func(name, usage+"; may be given again", func(text string) error {
		port, err := strconv.Atoi(text)
		ports = append(ports, port)
		return err
	})
	return &ports
}

func serveHTTP(listener net.Listener) error {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Protocols: &protocols, Handler: http.HandlerFunc(answer)}
	return s.Serve(listener)
}

func answer(w http.ResponseWriter, request *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "Host=%s\nURL=%s\nMethod=%s\nProto=%s\n", request.Host, request.URL.RequestURI(), request.Method, request.Proto)
	for _, line := range headerLines(request.Header) {
		fmt.Fprintf(w, "RequestHeader=%s\n", line)
	}
	fmt.Fprintf(w, "Hostname=%s\n", hostname())
}

func serveLines(listener net.Listener) error {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer connection.Close()
			for lines := bufio.NewScanner(connection); lines.Scan(); {
				fmt.Fprintf(connection, "StatusCode=200\nHostname=%s\nEcho=%s\n", hostname(), lines.Text())
			}
		}()
	}
}

type grpcEcho struct {
	echo.UnimplementedGrpcEchoServer
}

func (*grpcEcho) Echo(ctx context.Context, _ *echo.EchoRequest) (*echo.EchoResponse, error) {
	seen := &echo.Assertions{Context: &echo.Context{Pod: hostname()}}
	seen.FullyQualifiedMethod, _ = grpc.Method(ctx)
	received, _ := metadata.FromIncomingContext(ctx)
	for name, values := range received {
		for _, value := range values {
			seen.Headers = append(seen.Headers, &echo.Header{Key: name, Value: value})
		}
	}
	return &echo.EchoResponse{Assertions: seen}, nil
}

func hostname() string {
	name, _ := os.Hostname()
	return name
}

func newCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{"echo"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(1, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
