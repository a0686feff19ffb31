"""Every heading of the production guide is answered: by files and a test, or by the reason why it is done otherwise."""

import re
from pathlib import Path

import pytest
from tests.commands import arguments_of

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guide-coverage.md"
HEADINGS = (
    "# Production Environment Guide - Leave Management System",
    "## Table of Contents",
    "## Production Architecture",
    "### System Overview",
    "### Component Responsibilities",
    "#### Load Balancer (AWS ALB/Cloudflare)",
    "#### Nginx Reverse Proxy",
    "#### Application Layer",
    "#### Monitoring Stack",
    "## Infrastructure Requirements",
    "### Production Specifications",
    "#### Minimum Requirements",
    "#### Recommended Production Setup",
    "### Cloud Provider Configurations",
    "#### AWS Production Setup",
    "#### Google Cloud Platform Setup",
    "## Security Configuration",
    "### SSL/TLS Configuration",
    "#### Certificate Management",
    "#### Nginx SSL Configuration",
    "### Firewall Configuration",
    "#### AWS Security Groups",
    "### Application Security",
    "#### Environment Variables (Production)",
    "#### Database Security",
    "## Performance Optimization",
    "### Application Performance",
    "#### Node.js Optimization",
    "#### PM2 Configuration",
    "### Database Optimization",
    "#### MySQL Configuration (my.cnf)",
    "#### Database Indexes",
    "### Caching Strategy",
    "#### Redis Configuration",
    "#### Application Caching",
    "### Frontend Optimization",
    "#### Build Optimization",
    "#### CDN Configuration",
    "## Monitoring and Alerting",
    "### Metrics Collection",
    "#### Application Metrics",
    "#### Health Check Endpoints",
    "### Alert Configuration",
    "#### Critical Alerts",
    "#### Notification Channels",
    "### Dashboard Configuration",
    "#### Grafana Dashboard JSON",
    "## Backup and Recovery",
    "### Database Backup Strategy",
    "#### Automated Backup Script",
    "#### Point-in-Time Recovery",
    "### Application Backup",
    "#### File Backup Strategy",
    "### Disaster Recovery Plan",
    "#### RTO/RPO Targets",
    "#### Recovery Procedures",
    "## Maintenance Procedures",
    "### Regular Maintenance Tasks",
    "#### Daily Tasks",
    "#### Weekly Tasks",
    "#### Monthly Tasks",
    "#### Quarterly Tasks",
    "### Maintenance Windows",
    "#### Scheduled Maintenance",
    "### Update Procedures",
    "#### Application Updates",
    "## Scaling Guidelines",
    "### Horizontal Scaling",
    "#### Auto Scaling Configuration",
    "#### Load Testing for Scaling",
    "### Database Scaling",
    "#### Read Replica Configuration",
    "#### Database Partitioning Strategy",
    "## Troubleshooting",
    "### Common Production Issues",
    "#### High CPU Usage",
    "#### Memory Leaks",
    "#### Database Performance Issues",
    "### Log Analysis",
    "#### Application Logs",
    "#### ELK Stack Queries",
    "## Compliance and Auditing",
    "### Security Compliance",
    "#### SOC 2 Compliance Checklist",
    "#### GDPR Compliance",
    "### Audit Logging",
    "#### Application Audit Events",
    "#### System Audit Configuration",
    "### Reporting and Analytics",
    "#### Compliance Reports",
    "## Final Production Checklist",
    "### Pre-Deployment Verification",
    "### Go-Live Checklist",
    "### Post-Deployment Tasks",
)
"""The guide's headings outside its blocks of code, in its order."""


def rows() -> list[tuple[str, str, str, str]]:
    """Return heading, place, test and reason of each row of the page's table."""
    found = re.findall(r"^\| (#+ .+?) \| (.*?) \| (.*?) \| (.*?) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [(heading, place.strip(), test.strip(), reason.strip()) for heading, place, test, reason in found]


def test_every_heading_of_the_guide_is_answered_in_its_order() -> None:
    assert tuple(heading for heading, *_ in rows()) == HEADINGS


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_a_row_names_what_is_there_and_a_test_or_a_reason(row: tuple[str, str, str, str]) -> None:
    _, place, test, reason = row
    assert place
    assert test or reason
    for name in re.findall(r"`([^`]+)`", f"{place} {reason}"):
        if name.startswith("lms "):
            arguments_of(name.split()[1:])
        elif "/" in name:
            assert (ROOT / name).exists(), name
    if test:
        path, _, function = test.strip("`").partition("::")
        file = ROOT / path
        assert file.exists(), path
        if file.is_file():
            assert file.name.startswith("test_"), path
            assert re.search(rf"^(async )?def {function or 'test_'}", file.read_text(encoding="utf-8"), re.MULTILINE), (
                test
            )
