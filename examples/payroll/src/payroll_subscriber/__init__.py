"""A subscriber of LMS's payroll topic: it writes a file of absences for each month that payroll has closed."""
