//go:build !unix || aix || solaris || illumos

package secret

import "errors"

func lock(int) ([]byte, error) { return nil, errors.ErrUnsupported }

func unmap([]byte) {}
