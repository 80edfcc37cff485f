//go:build !linux

package main

import "errors"

func fileSystem(string) (name, why string) { return "", "" }

func freeSpace(string) (uint64, error) { return 0, errors.ErrUnsupported }

func clockTrouble() string { return "" }
