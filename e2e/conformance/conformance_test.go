// Package conformance runs the Gateway API's own tests of meshes against the cluster that KUBECONFIG names. Its settings
// are the suite's: options.yaml, and the suite's flags.
package conformance

import (
	"context"
	"embed"
	"flag"
	"io/fs"
	"os"
	"slices"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/gateway-api/conformance"
	"sigs.k8s.io/gateway-api/conformance/tests"
	"sigs.k8s.io/gateway-api/conformance/utils/kubernetes"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/yaml"
)

//go:embed manifests
var manifests embed.FS

// With the suite's three right answers in a row a service with two backends gives what a routing test wants within its
// 30 s by chance, with no mesh at all; twenty show that routes are followed.
const consecutiveSuccesses = 20

var (
	withMesh = flag.Bool("mesh", true, "put the tests' namespaces into the mesh, with a waypoint; false: the control run")
	smoke    = flag.Bool("smoke", false, "run only a handful of tests")
)

// One of each kind of work: pass through, route by path, split gRPC on one connection, leave pod addresses alone, tell
// consumers from producers.
var smokeTests = []string{"MeshBasic", "MeshTrafficSplit", "MeshGRPCRouteWeight", "MeshFrontend", "MeshConsumerRoute"}

var suiteNamespaces = []string{
	suite.MeshNamespace, suite.MeshConsumerNamespace, suite.AppBackendNamespace, suite.WebBackendNamespace,
}

func TestConformance(t *testing.T) {
	options := conformance.DefaultOptions(t)
	options.ManifestFS = []fs.FS{&conformance.Manifests, &manifests}
	options.TimeoutConfig.RequiredConsecutiveSuccesses = consecutiveSuccesses
	if *withMesh {
		options.NamespaceLabels = map[string]string{"istio.io/dataplane-mode": "ambient"}
	}
	if *smoke {
		for _, test := range tests.ConformanceTests {
			if !slices.Contains(smokeTests, test.ShortName) {
				options.SkipTests = append(options.SkipTests, test.ShortName)
			}
		}
	}
	run, err := suite.NewConformanceTestSuite(options)
	if err != nil {
		t.Fatal(err)
	}
	removeLeftovers(t, run)
	prepare(t, run)
	if err := run.Run(t, tests.ConformanceTests); err != nil {
		t.Fatal(err)
	}
	if options.ReportOutputPath != "" {
		writeReport(t, run, options.ReportOutputPath)
	}
}

func prepare(t *testing.T, run *suite.ConformanceTestSuite) {
	run.Applier.ManifestFS = run.ManifestFS
	run.Applier.GatewayClass = run.GatewayClassName
	run.Applier.MustApplyWithCleanup(t, run.Client, run.TimeoutConfig, "manifests/backends.yaml", run.Cleanup)
	run.Setup(t, tests.ConformanceTests)
	if !*withMesh {
		return
	}
	// After Setup, which replaces the labels of its namespaces.
	run.Applier.MustApplyWithCleanup(t, run.Client, run.TimeoutConfig, "manifests/waypoint.yaml", run.Cleanup)
	kubernetes.NamespacesMustBeReady(t, run.Client, run.TimeoutConfig, []string{suite.MeshNamespace})
}

// removeLeftovers waits until the namespaces of a run before are gone: labels that it gave them would count now.
func removeLeftovers(t *testing.T, run *suite.ConformanceTestSuite) {
	for _, name := range suiteNamespaces {
		namespace := &core.Namespace{ObjectMeta: meta.ObjectMeta{Name: name}}
		gone := func(ctx context.Context) (bool, error) {
			err := run.Client.Delete(ctx, namespace)
			return apierrors.IsNotFound(err), client.IgnoreNotFound(ignoreConflict(err))
		}
		if err := wait.PollUntilContextTimeout(t.Context(), time.Second, 2*time.Minute, true, gone); err != nil {
			t.Fatalf("namespace %s of an earlier run does not go: %v", name, err)
		}
	}
}

// A namespace that is being deleted already answers so.
func ignoreConflict(err error) error {
	if apierrors.IsConflict(err) {
		return nil
	}
	return err
}

func writeReport(t *testing.T, run *suite.ConformanceTestSuite, path string) {
	report, err := run.Report()
	if err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}
