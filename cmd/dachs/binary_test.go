package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// builtProgram is the built program, made once for all tests that need a process of its own.
var builtProgram = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "dachs-binary-*")
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "dachs")
	build := exec.Command("go", "build", "-o", name, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return name, nil
})

func TestMain(m *testing.M) {
	if os.Getenv(childRole) != "" {
		os.Exit(runChild())
	}
	code := m.Run()
	if name, err := builtProgram(); err == nil {
		os.RemoveAll(filepath.Dir(name))
	}
	os.Exit(code)
}

// process is a built Dachs that runs on its own.
type process struct {
	cmd    *exec.Cmd
	url    string // without a slash at the end
	stdout *output
	stderr *output
}

// startProcess starts the built program on a free port and waits until it answers.
func startProcess(t *testing.T, data string, args ...string) *process {
	t.Helper()
	name, err := builtProgram()
	if err != nil {
		t.Fatal(err)
	}
	return startCommand(t, exec.Command(name, append([]string{"serve", "--listen", "127.0.0.1:0", "--data", data}, args...)...))
}

// startCommand starts a command that serves, and waits until it answers.
func startCommand(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, stdout: &output{}, stderr: &output{}}
	p.cmd.Stdout, p.cmd.Stderr = p.stdout, p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	for range 1000 {
		if m := dashboardLine.FindStringSubmatch(p.stdout.String()); m != nil {
			p.url = m[1]
			if resp, err := http.Get(p.url + "/healthz"); err == nil {
				resp.Body.Close()
				return p
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("the built program does not answer: %s%s", p.stdout, p.stderr)
	return nil
}

// kill ends the process without giving it a chance to do anything.
func (p *process) kill() {
	if p.cmd.ProcessState != nil {
		return
	}
	p.cmd.Process.Kill()
	p.cmd.Wait() // reports the signal
}
